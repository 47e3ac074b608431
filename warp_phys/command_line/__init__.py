"""The command line `warp-phys`: each verb calls one public function, or lists what there is.

Input: text. `options.py` declares what an option is and how its text is converted.
Output: files, tables and exit codes. One file a verb in `verbs/`.
"""
