"""The page docs/performance.md: tables, plots and verdicts out of the reports of a run."""
