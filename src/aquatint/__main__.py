"""`python -m aquatint`, for `accelerate launch -m aquatint train`."""

from aquatint.cli import main

if __name__ == "__main__":
    main()
