"""The network, the options and the files that the estimators and the character model share."""
