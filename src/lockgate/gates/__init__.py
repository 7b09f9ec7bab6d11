"""Step 3, machines judge: the policy file, its gates, expressions in CEL, freeze windows.

In: a policy and the facts about candidate and incumbent. Out: an outcome for each gate, with a sentence that
explains it. Reads and writes nothing; expressions that could take long are evaluated in a child process. The only
place that imports CEL.
"""
