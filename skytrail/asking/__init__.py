"""What a hub asks agents: questions and answers as data, and who can be asked.

Here belong the questions, the conditions that are pushed to the agents with their one meaning, and the protocol of whoever
asks. Never here: the wire that carries them (``skytrail.wire``), how an agent answers, what Gremlin makes of it.
"""
