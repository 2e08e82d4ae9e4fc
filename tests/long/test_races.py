"""The full count of the races for the last number: ``ROUNDS`` of them, 1,000 unless the environment says otherwise."""

import os

import pytest

from tests import rows
from tests.integration.test_allocation import RACERS, race_for_the_last_number

ROUNDS = int(os.environ.get("ROUNDS", "1000"))


@pytest.mark.timeout(2 * 3600)
def test_of_fifty_racers_for_the_last_number_one_wins_every_time(database):
    on = rows.interface()
    people = [rows.person() for _ in range(RACERS)]
    for number in range(ROUNDS):
        race_for_the_last_number(database, people, on, released=number % 2 == 1)


@pytest.mark.timeout(2 * 3600)
def test_of_fifty_machines_one_has_the_last_number_every_time(database):
    on = rows.interface()
    accounts = [rows.account(on, device_limit=1_000_000) for _ in range(5)] * (RACERS // 5)
    for number in range(ROUNDS):
        race_for_the_last_number(database, accounts, on, released=number % 2 == 1)
