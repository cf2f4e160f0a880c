"""`python -m roost` is `roost`."""

from roost.cli import main

if __name__ == "__main__":
    main()
