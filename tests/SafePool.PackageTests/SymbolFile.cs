using System.Reflection.Metadata;
using System.Text;
using System.Text.Json;

namespace SafePool.PackageTests;

/// <summary>What a debugger finds in a portable PDB: which sources, and where to get each of them.</summary>
internal sealed class SymbolFile : IDisposable
{
    private static readonly Guid _sourceLink = new("CC110556-A091-4D38-9FEC-25AB9A351A6A");
    private static readonly Guid _embeddedSource = new("0E8A571B-6926-466E-B4AD-8AB04611F5FE");

    private readonly MetadataReaderProvider _provider;
    private readonly MetadataReader _reader;
    private readonly Dictionary<string, string> _links;

    public SymbolFile(byte[] content)
    {
        _provider = MetadataReaderProvider.FromPortablePdbStream(new MemoryStream(content));
        _reader = _provider.GetMetadataReader();
        var json = Find(EntityHandle.ModuleDefinition, _sourceLink).Single();
        _links = JsonDocument.Parse(Encoding.UTF8.GetString(json)).RootElement.GetProperty("documents").Deserialize<Dictionary<string, string>>()!;
    }

    /// <summary>Each source by its path, with where to get it; null when it is in the file itself, and empty when it is nowhere.</summary>
    public IReadOnlyDictionary<string, string?> Sources
        => _reader.Documents.ToDictionary(
            handle => _reader.GetString(_reader.GetDocument(handle).Name),
            handle => Find(handle, _embeddedSource).Any() ? null : Link(_reader.GetString(_reader.GetDocument(handle).Name)));

    public void Dispose() => _provider.Dispose();

    private string Link(string path)
        => _links
            .Where(link => path.StartsWith(link.Key.TrimEnd('*'), StringComparison.Ordinal))
            .Select(link => link.Value.Replace("*", path[(link.Key.Length - 1)..], StringComparison.Ordinal))
            .FirstOrDefault("");

    private IEnumerable<byte[]> Find(EntityHandle parent, Guid kind)
        => _reader.GetCustomDebugInformation(parent)
            .Select(_reader.GetCustomDebugInformation)
            .Where(information => _reader.GetGuid(information.Kind) == kind)
            .Select(information => _reader.GetBlobBytes(information.Value));
}
