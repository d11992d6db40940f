"""Course: what the notebooks need besides the library: exercises with checks, how much to compute, predictions first.

exercise.py        Exercise and its parts: cases, properties, known mistakes, hints
checks.py          `check`, `hint`, `solution`, `progress`: what a learner calls
exercises/         the exercises themselves, one file for each notebook
budget.py          how much a notebook computes: quick, cpu or gpu
method_traits.py   what each method is made of, read off the built method, as a table
predict.py         a question to answer before the result is shown
"""
