"""`make demo DOOR=name`: one call through each of the other systems' APIs, a module for each with `run_demo(teller)`; never passes over a failure."""
