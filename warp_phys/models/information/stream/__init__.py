"""Sensors: the information recurrence, one sample of many sensors at a time, in bounded memory.

Input: the memory of the sensors and their next sample.
Output: the memory after it, and the estimates, equal to those of whole records.
"""
