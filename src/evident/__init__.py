"""Visual explanations of convolutional networks: trained, explained, scored, compared."""
