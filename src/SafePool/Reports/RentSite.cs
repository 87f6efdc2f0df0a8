namespace SafePool.Reports;

/// <summary>Where a rent stands in the source. Compile-time constants: free at run time.</summary>
internal readonly record struct RentSite(string Member, string FilePath, int Line)
{
    /// <summary>The file without its path, which may have been built on any system.</summary>
    public string File => FilePath is null ? "" : FilePath[(FilePath.LastIndexOfAny(['/', '\\']) + 1)..];

    public override string ToString() => Sentences.Site(File, Line, Member);
}
