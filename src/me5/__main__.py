"""`python -m me5` is the `me5` command."""

from me5.cli import main

if __name__ == "__main__":
    main()
