from __future__ import annotations

from chanc.report.published import reference_points, search_days


def test_published_numbers_match_whole_names():
    assert [entry["top1"] for entry in reference_points("zoo:densenet-bc", "cifar10")] == [95.49, 95.72]
    assert reference_points("densenet-bc", "digits") == []
    assert [e["params"] for e in reference_points("runs/darts7.onnx", "cifar10")] == [222650]
    assert [e["params"] for e in reference_points("r34.onnx conetv2-resnet34", "cifar100")][:2] == [21328292] * 2
    assert [e["params"] for e in reference_points("dartsplus7", "cifar10")] == [261370]
    assert [e["label"] for e in reference_points("darts20", "cifar100")] == ["DARTS+14 of the paper"]
    assert reference_points("dartsplus20", "cifar10") == reference_points("darts70", "cifar10") == []
    assert search_days("resnet34-w16", "sa")["gpu_days"] == 0.036
    assert search_days("resnet34", "conet") is None


def test_every_published_number_has_a_name_of_its_own_and_a_source():
    entries = [(data, entry) for name in ("resnet34", "darts7", "dartsplus7", "darts14", "dartsplus14", "densenet")
               for data in ("cifar10", "cifar100", "imagenet") for entry in reference_points(name, data)]  # fmt: skip
    labels = [(data, entry["label"]) for data, entry in entries]
    assert len(labels) == len(set(labels)) > 40
    assert all("(" in entry["source"] or "CNAS" in entry["source"] for _, entry in entries)
    assert all(60 < entry.get("top1", 70) < 100 and 1e5 < entry["params"] < 3e7 for _, entry in entries)
