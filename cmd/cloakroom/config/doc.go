// Package config owns the configuration file: its keys and their defaults, how it is read (strictly, with every fault at
// its line), and which settings contradict each other. Others take the finished File as it is, read no variable and no
// secret's file themselves, and leave every check of what a person may write here.
package config
