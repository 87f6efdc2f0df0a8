namespace SafePool.Reports;

/// <summary>Words for what a server says about its sessions.</summary>
internal static class SessionWords
{
    public static string Name(string? name) => name switch
    {
        null => "hidden from this role",
        "" => "without a name",
        _ => name,
    };

    public static string Quoted(string? name) => string.IsNullOrEmpty(name) ? $"an application {Name(name)}" : $"'{name}'";
}
