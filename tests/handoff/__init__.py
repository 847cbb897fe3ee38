"""One contact, a bot, people and workers that die, played from a seed against the real decisions."""
