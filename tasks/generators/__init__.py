"""Recipes of the embedded suite.

A family of tasks is a module with a function `recipes`: it draws material, and its tasks differ in
what they ask of it. The comment above a task shows one of its rows: input -> answer.
"""
