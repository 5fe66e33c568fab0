"""The science of the study: tasks, data, models, training, evaluation, and what a run is.

Importing this package, `stilts.errors`, `stilts.runs`, `stilts.results` or `stilts.tasks.catalogue` is light:
torch, transformers, datasets and deepspeed are imported only by the modules that compute with them.
"""
