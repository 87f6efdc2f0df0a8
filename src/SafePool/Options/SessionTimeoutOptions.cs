using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace SafePool.Options;

/// <summary>The server-side timeouts between <see cref="ConnectionPoolOptions"/> and the start-up parameter <c>options</c>.</summary>
internal static partial class SessionTimeoutOptions
{
    public const string StatementTimeout = "statement_timeout";
    public const string LockTimeout = "lock_timeout";
    public const string IdleInTransactionTimeout = "idle_in_transaction_session_timeout";
    public const string TransactionTimeout = "transaction_timeout";

    private static readonly string[] Parameters = [StatementTimeout, LockTimeout, IdleInTransactionTimeout, TransactionTimeout];

    /// <summary>The timeouts in force: those of the options, and those that only the connection string's <c>Options</c> has.</summary>
    public static IReadOnlyList<SessionTimeout> Merge(string? startupOptions, ConnectionPoolOptions options, Faults faults)
    {
        var merged = new List<SessionTimeout>();
        foreach (var parameter in Parameters)
        {
            var (option, set) = OptionOf(parameter, options);
            var text = ValueIn(startupOptions, parameter);
            var said = text is null ? null : Parse(text);
            if (text is not null && said is null)
            {
                faults.Add($"'{parameter}={text}' in the Options of the connection string is no duration that SafePool reads. Write whole milliseconds, or a unit (ms, s, min, h, d), or set {option}.");
            }
            else if (set is { } own && said is { } other && own != other)
            {
                faults.Add($"{option} ({own}) and '{parameter}' in the Options of the connection string ({other}) differ. Keep one of them.");
            }

            // Zero in the string is PostgreSQL's "no limit": left in the string as it is, with nothing to verify.
            if ((set ?? said) is { } value && value > TimeSpan.Zero)
            {
                merged.Add(new SessionTimeout(parameter, value));
            }
        }

        return merged;
    }

    /// <summary>Adds the timeouts to what the string's <c>Options</c> already has.</summary>
    public static string Write(string? startupOptions, IReadOnlyList<SessionTimeout> timeouts)
    {
        var options = new StringBuilder(startupOptions?.Trim());
        foreach (var timeout in timeouts)
        {
            if (ValueIn(startupOptions, timeout.Parameter) is null)
            {
                options.Append(options.Length > 0 ? " " : "").Append("-c ").Append(timeout.Parameter).Append('=').Append(timeout.Milliseconds);
            }
        }

        return options.ToString();
    }

    /// <summary>Takes the timeouts out of what the string's <c>Options</c> has.</summary>
    public static string Strip(string? startupOptions)
        => Assignment().Replace(startupOptions ?? "", match => Parameters.Contains(NameIn(match)) ? "" : match.Value).Trim();

    private static (string Option, TimeSpan? Value) OptionOf(string parameter, ConnectionPoolOptions options) => parameter switch
    {
        "statement_timeout" => (nameof(options.StatementTimeout), options.StatementTimeout),
        "lock_timeout" => (nameof(options.LockTimeout), options.LockTimeout),
        "idle_in_transaction_session_timeout" => (nameof(options.IdleInTransactionTimeout), options.IdleInTransactionTimeout),
        _ => (nameof(options.TransactionTimeout), options.TransactionTimeout),
    };

    // PostgreSQL takes '-c name=value', '-cname=value' and '--name=value', '-' for '_' in the last; the last one wins.
    private static string? ValueIn(string? startupOptions, string parameter)
    {
        string? value = null;
        foreach (Match match in Assignment().Matches(startupOptions ?? ""))
        {
            if (NameIn(match) == parameter)
            {
                value = match.Groups["value"].Value;
            }
        }

        return value;
    }

#pragma warning disable CA1308 // PostgreSQL's names are in lower case.
    private static string NameIn(Match match) => match.Groups["name"].Value.Replace('-', '_').ToLowerInvariant();
#pragma warning restore CA1308

    private static TimeSpan? Parse(string text)
    {
        var match = Duration().Match(text);
        if (!match.Success || !long.TryParse(match.Groups["number"].Value, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            return null;
        }

        long? unit = match.Groups["unit"].Value switch
        {
            "" or "ms" => 1,
            "s" => 1000,
            "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => null,
        };
        return unit is null || number > int.MaxValue / unit ? null : TimeSpan.FromMilliseconds(number * unit.Value);
    }

    [GeneratedRegex(@"(?:^|\s)(?:-c\s*|--)(?<name>[A-Za-z_][\w-]*)=(?<value>\S*)")]
    private static partial Regex Assignment();

    [GeneratedRegex(@"^(?<number>\d+)(?<unit>[a-z]*)$")]
    private static partial Regex Duration();
}
