"""Configs become objects, with a sentence for every mistake, and become JSON again."""

WHERE = "shared.data.view.Jitter"
