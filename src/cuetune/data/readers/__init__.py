"""How the rows of each modality are found, read, checked and described."""
