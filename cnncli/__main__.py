"""`python -m cnncli` is the same as `cnn`."""

from cnncli.cli.main import main

if __name__ == "__main__":
    main()
