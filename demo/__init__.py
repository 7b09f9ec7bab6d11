"""`make demo`: a promotion from training to rollback, played against a real server with the real mlflow client.

`stage` starts the server and lets people in, `train` makes models, `steps` are what people do, each checked, `story`
puts them into acts, and `narrator` tells of them.
"""
