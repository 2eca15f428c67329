"""`python -m gdbackends`."""

from gdbackends.cli import main

if __name__ == "__main__":
    main()
