"""Runs that a person stops."""


def stop_after(steps, tuner, monkeypatch):
    """Let the run be interrupted, as by Ctrl-C, after so many steps."""
    real, done = tuner._step, []

    def step(chosen):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(chosen)
        return real(chosen)

    monkeypatch.setattr(tuner, "_step", step)
