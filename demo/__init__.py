"""`make demo`: a promotion from training to rollback, played against a real server with the real mlflow client.

`stage` starts the server and lets people in, `train` makes models, `story` plays the acts, `narrator` tells of them.
"""
