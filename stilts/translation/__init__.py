"""Intermediate training sets in other languages: machine translation, answers found again, and the files of both."""
