"""Recipes: data + views + encoder + method + optimiser = one run, with a unit and a source for every setting.

recipe.py        Recipe: every setting of a run, in sections
presets.py       settings that go together: quick, standard and as_released
flags.py         a command-line flag for each setting
recipe_file.py   a recipe from a JSON or TOML file
legacy.py        recipes of older records, read under today's names
view_choice.py   ViewChoice: the settings of a recipe that decide its views, as one value
"""
