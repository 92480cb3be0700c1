"""``python -m oarlock``: the same as the ``oarlock`` command, for when only the interpreter's path is known."""

from oarlock.cli import main

if __name__ == "__main__":
    main()
