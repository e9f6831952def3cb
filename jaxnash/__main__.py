"""`python -m jaxnash`: the same as the console script `jaxnash`."""

from jaxnash.runs.job_cli import main

main()
