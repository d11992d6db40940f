"""Recipes: data + views + encoder + method + optimiser = one run, with a unit and a source for every setting.

recipe.py        Recipe: every setting of a run; the presets quick, standard and as_released
flags.py         a command-line flag for each setting
view_choice.py   ViewChoice: the settings of a recipe that decide its views, as one value
"""
