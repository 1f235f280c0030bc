"""`python -m chanc` is the same as the `chanc` command."""

from chanc.cli import main

if __name__ == "__main__":
    main()
