using System.Globalization;

namespace SafePool.TestKit;

/// <summary>A process for sure: its id together with the moment it started, because ids are given out again.</summary>
/// <param name="Id">The process id.</param>
/// <param name="StartedAt">Clock ticks since boot, or null where only the id is known.</param>
internal sealed record ProcessIdentity(int Id, long? StartedAt)
{
    public static ProcessIdentity Current { get; } = new(Environment.ProcessId, ReadStat(Environment.ProcessId)?.StartedAt);

    /// <summary>Gets whether this very process still runs. A zombie does not.</summary>
    public bool IsAlive => ReadStat(Id) is { State: not ('Z' or 'X') } stat && (StartedAt ?? stat.StartedAt) == stat.StartedAt;

    private static (char State, long StartedAt)? ReadStat(int id)
    {
        try
        {
            // "pid (name) state …": the name may hold blanks and parentheses, so fields count from the last one.
            var stat = File.ReadAllText($"/proc/{id}/stat");
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return (fields[0][0], long.Parse(fields[19], CultureInfo.InvariantCulture));
        }
        catch (IOException)
        {
            return null;
        }
    }
}
