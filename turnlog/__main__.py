"""python -m turnlog"""

from turnlog.infrastructure.cli import main

if __name__ == "__main__":
    main()
