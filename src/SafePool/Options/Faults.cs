namespace SafePool.Options;

/// <summary>Collects what is wrong with options, in sentences that name the option, its value and the remedy.</summary>
internal sealed class Faults
{
    private static readonly TimeSpan LongestServerTimeout = TimeSpan.FromMilliseconds(int.MaxValue);
    private readonly List<string> _sentences = [];

    public bool Any => _sentences.Count > 0;

    public IReadOnlyList<string> All => _sentences;

    public void Add(string sentence) => _sentences.Add(sentence);

    public void UnlessWithin(string option, int value, int least, int most)
    {
        if (value < least || value > most)
        {
            Add($"{option} ({value}) must be from {least} to {most}.");
        }
    }

    public void UnlessWithin(string option, TimeSpan value, TimeSpan least, TimeSpan most, bool orInfinite = false)
    {
        if ((value < least || value > most) && !(orInfinite && value == Timeout.InfiniteTimeSpan))
        {
            var from = least == TimeSpan.FromTicks(1) ? "more than zero" : $"at least {least}";
            var to = most == TimeSpan.MaxValue ? "" : $" and at most {most}";
            Add($"{option} ({value}) must be {from}{to}{(orInfinite ? ", or Timeout.InfiniteTimeSpan" : "")}.");
        }
    }

    public void UnlessDefined<T>(string option, T value)
        where T : struct, Enum
    {
        if (!Enum.IsDefined(value))
        {
            Add($"{option} ({value}) is not one of {string.Join(", ", Enum.GetNames<T>())}.");
        }
    }

    public void UnlessServerTimeout(string option, TimeSpan? value)
    {
        if (value is { } timeout && (timeout < TimeSpan.FromMilliseconds(1) || timeout > LongestServerTimeout))
        {
            Add($"{option} ({timeout}) must be from 1 millisecond to {LongestServerTimeout}: PostgreSQL counts whole milliseconds, and 0 would mean no limit. Leave it null for the server's own.");
        }
    }
}
