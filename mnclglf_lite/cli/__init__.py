"""The command line: `python -m mnclglf_lite COMMAND`, installed as `mnclglf-lite`.

main.py      the commands: doctor, fetch, train, evaluate, compare, explore, export
parser.py    what reads their words, and says what is wrong with them
evaluate.py  the command that measures a run or exported weights
doctor.py    what is installed, what works here, and what to do about the rest
"""
