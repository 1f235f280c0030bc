"""optuna chooses the widths, chanc makes and trains the networks: ask and tell from outside.

    python examples/toolchains/optuna_widths.py

`chanc search --algo optuna` does more (many trials at a time, resume, a report); here any study of yours drives.
"""

from __future__ import annotations

import optuna
from network import network

import chanc
from chanc.data import load

MACS = 1_000_000
optuna.logging.set_verbosity(optuna.logging.WARNING)


def main(trials: int = 5, epochs: int = 3) -> None:
    """Five networks on scikit-learn's digits; those that cost too much aren't trained."""
    model, digits = network(size=8, channels=1), load("digits", limit_train=400)
    groups = [group for group in chanc.analyze(model).groups if group.resizable]
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    for _ in range(trials):
        trial = study.ask()
        widths = {one.id: trial.suggest_int(one.id, one.size // 4, 2 * one.size, step=one.step) for one in groups}
        resized = chanc.rewrite(model, widths, transfer="init").model
        macs = chanc.analyze(resized).macs
        if macs > MACS:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        score = chanc.train(resized, digits, epochs=epochs, batch_size=32, lr=0.1, normalise="dataset").top1
        study.tell(trial, score)
        print(f"trial {trial.number}: widths {list(widths.values())}, {macs:,} MACs, top-1 {score:.3f}")
    print(f"optuna: the best of {len(study.trials)} has top-1 {study.best_value:.3f}")


if __name__ == "__main__":
    main()
