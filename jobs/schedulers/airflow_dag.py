"""Airflow: the task fails for good where another try cannot help, and is tried again where it can."""

import subprocess
from datetime import datetime, timedelta

from airflow.decorators import dag, task
from airflow.exceptions import AirflowException, AirflowFailException

# A wrong spec, bad data, a failed check, no device, a bug: a person has to look.
FINAL = {2: "spec", 3: "data", 4: "check", 6: "device", 70: "bug"}
# Over a budget, temporary, stopped: the same command goes on where it ended.
AGAIN = {5: "budget", 75: "temporary", 130: "interrupted", 143: "terminated"}


@dag(schedule="15 2 * * *", start_date=datetime(2026, 1, 1), catchup=False)
def nightly():
    @task(retries=4, retry_delay=timedelta(minutes=10))
    def mill(month: str) -> None:
        command = ["gristmill", "run", "nightly.toml", "--quiet", "--set", f"vars.month={month}"]
        code = subprocess.run(command, cwd="/srv/nightly", check=False).returncode
        if code in FINAL:
            raise AirflowFailException(f"gristmill ended with {code} ({FINAL[code]})")
        if code != 0:
            raise AirflowException(f"gristmill ended with {code} ({AGAIN.get(code, 'killed')})")

    mill("{{ ds[:7] }}")


nightly()
