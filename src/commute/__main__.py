"""``python -m commute`` is the command ``commute``: for places where only the interpreter is known."""

from commute.cli import main

if __name__ == "__main__":
    main(prog_name="commute")
