"""The command line: `python -m mnclglf_lite COMMAND`, installed as `mnclglf-lite`.

main.py     the commands: doctor, fetch, train, evaluate, compare, explore, export
doctor.py   what is installed, what works here, and what to do about the rest
"""
