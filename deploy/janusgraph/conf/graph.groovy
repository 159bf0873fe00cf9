// Runs once at start: what the returned map holds is known to every request.
def globals = [:]
globals << [g : traversal().withEmbedded(graph)]
