"""Answers for any number of rows in constant memory, in the rows' order: one predictor for each modality."""
