"""The first hour of somebody who has nothing but the README, played by `make hour`."""
