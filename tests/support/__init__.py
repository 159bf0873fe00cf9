"""What several test folders share: frames, the dissector that judges them, the laboratory around the flows program."""
