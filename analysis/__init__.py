"""Turn results into statements that hold: frames in, frames out."""
