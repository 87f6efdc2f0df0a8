namespace SafePool.Driver.Poolers;

/// <summary>One thing that a pooler says.</summary>
/// <param name="Kind">What it means.</param>
/// <param name="SqlStates">The SQLSTATEs under which it comes; none when that is not documented and the words are its own.</param>
/// <param name="Pattern">Its words. A star stands for anything, also nothing.</param>
internal sealed record PoolerWord(PoolerErrorKind Kind, IReadOnlyCollection<string> SqlStates, string Pattern)
{
    private readonly string[] _parts = Pattern.Split('*');

    public bool Fits(string sqlState, string text)
        => (SqlStates.Count == 0 || SqlStates.Contains(sqlState)) && Matches(text);

    private bool Matches(string text)
    {
        const StringComparison AsTheyMean = StringComparison.OrdinalIgnoreCase;
        if (_parts is [var only])
        {
            return text.Equals(only, AsTheyMean);
        }

        var at = _parts[0].Length;
        if (!text.StartsWith(_parts[0], AsTheyMean) || !text.AsSpan(at).EndsWith(_parts[^1], AsTheyMean))
        {
            return false;
        }

        var end = text.Length - _parts[^1].Length;
        foreach (var part in _parts[1..^1])
        {
            var found = text.IndexOf(part, at, end - at, AsTheyMean);
            if (found < 0)
            {
                return false;
            }

            at = found + part.Length;
        }

        return true;
    }
}
