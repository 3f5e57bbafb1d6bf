variable "name" {
  description = "Name of the secret."
  type        = string
}

variable "replicate_to" {
  description = "Regions that get a copy, for a pilot light."
  type        = list(string)
}

variable "is_copy" {
  description = "Whether the secret is a copy that another region's environment made here."
  type        = bool
}

variable "keys" {
  description = "Keys that the secret's JSON object has to have; each becomes an environment variable of the tasks."
  type        = set(string)
}

variable "recovery_days" {
  description = "Days in which a deleted secret can be restored; 0 deletes at once."
  type        = number
}
