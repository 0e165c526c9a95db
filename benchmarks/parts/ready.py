"""From the start of the process to the first answered call."""

import statistics

from benchmarks.parts.part import Context, Part


class Ready(Part):
    name = "ready"
    title = "Ready"
    about = (
        "Median time from the start on an empty directory to the first answered call: the server's process, "
        "or, where the system is a library, a new Python process with it."
    )

    def seconds(self) -> float:
        return 4.0 * self.settings.rounds

    def prepare(self, context: Context) -> None:
        return

    def run(self, context: Context) -> None:
        times = []
        for start in range(self.settings.rounds):
            context.note(f"start {start + 1}")
            times.append(context.session.restart_clean())
            context.advance((start + 1) / self.settings.rounds)
        spread = f"{min(times):.2f} to {max(times):.2f} in {len(times)}"
        context.measure(self.name, "ready", statistics.median(times), "s", "less", spread)
