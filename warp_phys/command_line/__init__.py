"""The command line `warp-phys`: each verb is one public function.

Comes in: text. `options.py` declares what an option is and how its text is converted.
Goes out: files, tables and exit codes. One file a verb in `verbs/`.
"""
