"""`python -m batzen`: the command line."""

from batzen.cli.app import main

if __name__ == "__main__":
    main()
