using System.Collections.Frozen;

namespace SafePool.Options;

/// <summary>The frozen form of <see cref="ConnectionPoolOptions.RetireOn"/>.</summary>
internal sealed record ChosenSqlStates
{
    private readonly FrozenSet<string> _states;

    private ChosenSqlStates(IEnumerable<string> states)
    {
        _states = states.ToFrozenSet(StringComparer.Ordinal);
        Text = string.Join(", ", _states.Order(StringComparer.Ordinal));
    }

    /// <summary>All of them, in order: two sets that say the same are equal.</summary>
    public string Text { get; }

    public static ChosenSqlStates Of(ConnectionPoolOptions options) => new(options.RetireOn);

    public static void Check(ConnectionPoolOptions options, Faults faults)
    {
        foreach (var state in options.RetireOn)
        {
            if (state is not { Length: 5 } || !state.All(static sign => char.IsAsciiDigit(sign) || char.IsAsciiLetterUpper(sign)))
            {
                faults.Add($"RetireOn has '{state}', which is no SQLSTATE. Write its five digits or capital letters, such as 25006.");
            }
        }
    }

    public void WriteTo(ConnectionPoolOptions options) => options.RetireOn.UnionWith(_states);

    public bool Contains(string sqlState) => _states.Contains(sqlState);

    public bool Equals(ChosenSqlStates? other) => other?.Text == Text;

    public override int GetHashCode() => Text.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => Text;
}
