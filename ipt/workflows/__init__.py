"""One module a verb: an experiment in, a result out."""
